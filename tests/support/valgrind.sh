#!/bin/sh
# Run a test under valgrind: any error or leak fails it. What is still reachable is none: the children that some tests fork end by
# _exit, with all that their parent has. Tests that are scripts run as they are.
case $1 in
*python*) exec "$@" ;;
esac
leaks=definite,indirect,possible
exec valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=$leaks --errors-for-leak-kinds=$leaks "$@"
