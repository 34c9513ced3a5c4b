#!/bin/sh
# The compiler of the machine. An emulated compiler takes minutes, so the C programs of the tests were compiled on the host:
# for cc … -o PROGRAM test/support/programs/NAME.c … this script copies the program. Everything else is compiled.
output='' previous='' helper=''
for word; do
	[ "$previous" = -o ] && output=$word
	case $word in
	*/test/support/programs/*.c)
		compiled=/userns/build/helpers/$(basename "$word" .c)
		[ -x "$compiled" ] && helper=$compiled
		;;
	esac
	previous=$word
done
[ -n "$helper" ] && exec cp "$helper" "$output"
exec /usr/bin/gcc "$@"
