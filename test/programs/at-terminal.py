# Runs a program at a terminal of its own, and types a line there when it says `ready`, as somebody does who has read that.
# Prints what the terminal showed. Arguments: the program and its arguments.
import os
import pty
import sys
import time

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
shown = b""
typed = False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break  # EIO: nobody has the terminal any more.
    if not piece:
        break
    shown += piece
    if not typed and b"ready" in shown:
        typed = True
        time.sleep(0.3)  # It reads by now, unless the machine is very slow.
        os.write(terminal, b"late\n")
os.waitpid(pid, 0)
sys.stdout.write(shown.decode("latin1").replace("\r\n", "\n"))
