# Perl's shared memory: each access attaches, copies and detaches.
use strict;
use warnings;
use IPC::SysV qw(IPC_PRIVATE IPC_CREAT IPC_RMID IPC_STAT S_IRUSR S_IWUSR shmat shmdt memread memwrite);
use IPC::SharedMem;

$| = 1;
my $id = shmget(IPC_PRIVATE, 100000, S_IRUSR | S_IWUSR) // die "shmget: $!";
my $text = "";
print "write: ", (shmwrite($id, "hello" x 10, 10, 50) ? "done" : $!), "\n";
print "read: ", (shmread($id, $text, 0, 70) ? unpack("H*", $text) : $!), "\n";
print "write: ", (shmwrite($id, "end", 99997, 3) ? "done" : $!), "\n";
print "read beyond: ", (shmread($id, $text, 99990, 20) ? "done" : $!), "\n";
if (fork() == 0) {
    shmread($id, $text, 10, 5);
    shmwrite($id, "child saw $text", 200, 15);
    exit 0;
}
wait;
shmread($id, $text, 200, 15);
print "$text\n";
print "remove: ", (shmctl($id, IPC_RMID, 0) ? "done" : $!), "\n";
print "read: ", (shmread($id, $text, 0, 70) ? "done" : $!), "\n";

my $segment = IPC::SharedMem->new(IPC_PRIVATE, 8, S_IRUSR | S_IWUSR) or die "IPC::SharedMem: $!";
print "write: ", ($segment->write(pack("S", 4711), 2, 2) ? "done" : $!), "\n";
print "read: ", unpack("S", $segment->read(2, 2)), "\n";
my $status = $segment->stat;
printf "stat: %d %d %d %o %d\n", $status->segsz, $status->cpid == $$, $status->lpid == $$, $status->mode & 0777, $status->nattch;
my $address = shmat($segment->id, undef, 0);
memwrite($address, "abcd", 4, 4);
print "attached: ", $segment->stat->nattch, "\n";
print "detach: ", (shmdt($address) ? "done" : $!), "\n";
print "detach again: ", (shmdt($address) ? "done" : $!), "\n";
print "read: ", $segment->read(4, 4), "\n";
print "remove: ", ($segment->remove ? "done" : $!), "\n";
