# Perl's IPC::Msg and IPC::Semaphore, as any Perl program uses them.
use strict;
use warnings;
use IPC::SysV qw(IPC_PRIVATE IPC_CREAT IPC_NOWAIT SEM_UNDO S_IRUSR S_IWUSR);
use IPC::Msg;
use IPC::Semaphore;

$| = 1;
my $queue = IPC::Msg->new(IPC_PRIVATE, S_IRUSR | S_IWUSR | IPC_CREAT) or die "IPC::Msg: $!";
my $text;
print "snd: ", ($queue->snd(5, "hello") ? "done" : $!), "\n";
print "rcv: ", $queue->rcv($text, 100, 0, IPC_NOWAIT), " $text\n";
print "rcv: ", (defined $queue->rcv($text, 100, 0, IPC_NOWAIT) ? "done" : $!), "\n";
my $status = $queue->stat;
printf "stat: %d %d %d %o\n", $status->qnum, $status->lspid == $$, $status->lrpid == $$, $status->mode;
print "set: ", ($queue->set(mode => 0400) ? "done" : $!), "\n";
print "remove: ", ($queue->remove ? "done" : $!), "\n";
print "snd: ", ($queue->snd(5, "hello") ? "done" : $!), "\n";

my $set = IPC::Semaphore->new(IPC_PRIVATE, 3, S_IRUSR | S_IWUSR | IPC_CREAT) or die "IPC::Semaphore: $!";
$set->setall(1, 2, 3);
$set->op(0, 1, SEM_UNDO, 1, -1, 0);
print "getall: ", join(",", $set->getall), " ", $set->getpid(0) == $$, "\n";
if (fork() == 0) {
    $set->op(2, -3, SEM_UNDO);
    exit 0;
}
wait;
print "after the child: ", join(",", $set->getall), "\n";
$set->setval(1, 7);
print "getval: ", $set->getval(1), " ", $set->getncnt(1), " ", $set->getzcnt(1), " ", $set->stat->nsems, "\n";
$SIG{ALRM} = sub { print "alarm\n" };
alarm 1;
print "op: ", ($set->op(0, -20, 0) ? "done" : $!), "\n";
print "remove: ", ($set->remove ? "done" : $!), "\n";
