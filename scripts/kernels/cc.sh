#!/bin/sh
# The machine's compiler. The tests' own helpers were compiled before it was switched on, since an emulated compiler
# takes minutes: cc … -o PROGRAM test/support/NAME.c is answered with a copy. Everything else is compiled.
output='' previous=''
for word; do
	[ "$previous" = -o ] && output=$word
	previous=$word
done
helper=/userns/build/helpers/$(basename "$previous" .c)
case $previous in
*/test/support/*.c) [ -x "$helper" ] && exec cp "$helper" "$output" ;;
esac
exec /usr/bin/gcc "$@"
