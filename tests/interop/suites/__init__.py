"""Other people's programs and suites for System V IPC, run by the kernel and through librpcipc.so beside each other.

None of their code is here: it comes as packages, or as source packages fetched when the tests run.
"""
