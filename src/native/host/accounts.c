/*
 * Users and their groups, as the C library knows them. This is asked in the parent, before there is a child: a name service
 * may open files, take locks and talk to a server, none of which a vfork child may do.
 */
#include "host/accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 1024, LARGEST_SIZE = 1024 * 1024, FIRST_GROUPS = 32, MOST_GROUPS = 65536 };

static int fill_groups(struct account *account) {
  for (int room = FIRST_GROUPS; room <= MOST_GROUPS; room *= 2) {
    gid_t *groups = realloc(account->groups, (size_t)room * sizeof *groups);
    if (groups == NULL) return -ENOMEM;
    account->groups = groups;
    account->group_count = room;
    if (getgrouplist(account->name, account->gid, groups, &account->group_count) >= 0) return 1;
  }
  return -ERANGE;
}

int account_find(const char *name, uid_t uid, struct account *ret_account) {
  struct account account = {0};
  char *buffer = NULL;
  int result = -ERANGE;
  for (size_t size = FIRST_SIZE; size <= LARGEST_SIZE && result == -ERANGE; size *= 2) {
    struct passwd entry, *found = NULL;
    char *larger = realloc(buffer, size);
    if (larger == NULL) {
      result = -ENOMEM;
      break;
    }
    buffer = larger;
    const int why =
        name != NULL ? getpwnam_r(name, &entry, buffer, size, &found) : getpwuid_r(uid, &entry, buffer, size, &found);
    /* A service that has no such user says so in one of several ways; see getpwnam(3). */
    if (found == NULL && (why == 0 || why == ENOENT || why == ESRCH || why == EBADF || why == EPERM)) {
      result = 0;
    } else if (found == NULL) {
      result = -why;
    } else {
      account.name = strdup(entry.pw_name);
      account.uid = entry.pw_uid;
      account.gid = entry.pw_gid;
      result = account.name == NULL ? -ENOMEM : fill_groups(&account);
    }
  }
  free(buffer);
  if (result == 1)
    *ret_account = account;
  else
    account_free(&account);
  return result;
}

void account_free(struct account *account) {
  free(account->name);
  free(account->groups);
}
