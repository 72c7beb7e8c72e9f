#!/bin/bash
# All C files are laid out as .clang-format says: format.sh SOURCE_ROOT. Another clang-format than 14 sees things differently, so
# then this is skipped.
cd "$1" || exit 1
for tool in clang-format-14 clang-format ''; do
    [ -n "$tool" ] || { echo "no clang-format 14 here"; exit 77; }
    [[ $("$tool" --version 2>/dev/null) == *"version 14."* ]] && break
done
mapfile -t files < <(find include lib adapters tests samples -name '*.[ch]' -o -name '*.cc' -o -name '*.cpp' | sort)
echo "${#files[@]} files"
[ ${#files[@]} -gt 0 ] && "$tool" --dry-run -Werror "${files[@]}"
