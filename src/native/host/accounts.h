/* Who a user is, asked of the C library, and so of every service that /etc/nsswitch.conf names. */
#ifndef VIRCOMMAND_ACCOUNTS_H
#define VIRCOMMAND_ACCOUNTS_H

#include <sys/types.h>

struct account {
  char *name;
  uid_t uid;
  gid_t gid;
  gid_t *groups; /* with the user's own group */
  int group_count;
};

/* Finds a user by name, or by uid where there is no name. 1: found, and to be freed; 0: there is none; or a negative errno. */
int account_find(const char *name, uid_t uid, struct account *ret_account);
void account_free(struct account *account);

#endif
