# What people use fakeroot for: owners, modes and devices that nobody has, kept over copies and archives.
# Every stat, chown and chmod is a message to its daemon and one back, under a semaphore.
number=0
check() { # what it should be, what it is
    number=$((number + 1))
    if [ "$1" = "$2" ]; then echo "ok $number"; else echo "not ok $number - '$2' instead of '$1'"; fi
}

work=$(mktemp -d "$PWD/files.XXXXXX") && cd "$work" || exit 1
check 0 "$(id -u)"
touch plain
check '0:0' "$(stat -c %u:%g plain)"
chown 12:34 plain
check '12:34' "$(stat -c %u:%g plain)"
chmod 4755 plain
check 4755 "$(stat -c %a plain)"
mknod null c 1 3
check 'character special file 1,3' "$(stat -c '%F %Hr,%Lr' null)"
mknod block b 8 0
check 'block special file' "$(stat -c %F block)"
mkdir -p tree/below && chown -R 7:8 tree
check '7:8 7:8' "$(stat -c %u:%g tree tree/below | tr '\n' ' ' | sed 's/ $//')"
cp -a null copy
check 'character special file' "$(stat -c %F copy)"
cp -p plain kept
check '12:34' "$(stat -c %u:%g kept)"
mv plain moved
check '12:34 4755' "$(stat -c '%u:%g %a' moved)"
ln moved linked && chown 99 moved
check 99 "$(stat -c %u linked)"
tar cf all.tar moved null tree
check 3 "$(tar tvf all.tar --numeric-owner | grep -c -e ' 99/34 ' -e '^c.*1,3' -e ' 7/8 .*below')"
mkdir out && tar xpf all.tar -C out
check '99:34 4755' "$(stat -c '%u:%g %a' out/moved)"
check 'character special file' "$(stat -c %F out/null)"
for user in $(seq 1 20); do
    (touch "many.$user" && chown "$user:$user" "many.$user" && chmod 600 "many.$user") &
done
wait
check 210 "$(stat -c %u many.* | paste -sd+ | awk -F+ '{for (i = 1; i <= NF; i++) sum += $i; print sum}')"
rm -rf "$work"
[ -e "$work" ]
check 1 $?
