#!/bin/sh
# Fuzzes the parsers, and measures how much of them tests and corpora reach.
#   runtime/fuzz/run.sh [-t SECONDS] [NAME...]   each target SECONDS long (60); 1: something found
#   runtime/fuzz/run.sh -c [NAME...]             line coverage by runtime/test/ and the corpora
#                                                1: a parser is below 90 %
# Each target names its sources and libraries in its first comment. What is found, and what
# was built, lies in $OUT (build/fuzz); seeds are in runtime/fuzz/corpus/NAME and only read.
set -eu

cd "$(dirname "$0")/.."
OUT=${OUT:-$PWD/../build/fuzz}
CC=${CC:-clang}
BAR=90
seconds=60 coverage=0
while getopts ct: option; do
    case $option in
    c) coverage=1 ;;
    t) seconds=$OPTARG ;;
    *) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- $(cd fuzz && ls *_fuzz.c | sed 's/_fuzz\.c$//')
mkdir -p "$OUT"

listed() { # KIND NAME: the words behind "KIND:" in the target's first comment
    sed -n "1,/\*\//s/^ \* $1: *\([^*]*\).*/\1/p" "fuzz/$2_fuzz.c" | tr '\n' ' '
}

compile() { # NAME OUTPUT FLAGS...
    name=$1 output=$2
    shift 2
    libraries=
    for library in $(listed Libraries "$name"); do libraries="$libraries -l$library"; done
    # shellcheck disable=SC2046,SC2086
    "$CC" -std=gnu11 -D_GNU_SOURCE -g -O1 -I. -Wall -Wextra -Wno-unused-parameter -Werror \
        -DGW_HEAD_CROSSCHECK "$@" "fuzz/${name}_fuzz.c" $(listed Sources "$name") \
        $libraries -o "$output"
}

fuzz_one() { # NAME
    compile "$1" "$OUT/$1" -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all || return 1
    mkdir -p "$OUT/$1.found" "$OUT/$1.corpus"
    if ! "$OUT/$1" -max_total_time="$seconds" -timeout=5 -max_len=4096 -dict=fuzz/http.dict \
        -print_final_stats=1 -artifact_prefix="$OUT/$1.found/" "$OUT/$1.corpus" \
        "fuzz/corpus/$1" >"$OUT/$1.log" 2>&1; then
        echo "$1: FOUND something, see $OUT/$1.log"
        tail -n 40 "$OUT/$1.log"
        return 1
    fi
    echo "$1: clean, $(sed -n 's/^stat::number_of_executed_units: *//p' "$OUT/$1.log") runs in ${seconds} s"
}

# Each target replays its seeds once; the tests of the same sources run, too.
cover_one() { # NAME
    rm -f "$OUT/$1".*.profraw
    compile "$1" "$OUT/$1.cover" -fsanitize=fuzzer -fprofile-instr-generate -fcoverage-mapping
    LLVM_PROFILE_FILE="$OUT/$1.seeds.profraw" "$OUT/$1.cover" -runs=0 "fuzz/corpus/$1" \
        >"$OUT/$1.log" 2>&1
    objects="$OUT/$1.cover"
    parser=$(listed Sources "$1" | cut -d' ' -f1)
    module=$(basename "$parser" .c)
    for test in "test/$(dirname "$parser")/$module"_*test.c; do
        [ -e "$test" ] || continue
        binary="$OUT/$(basename "$test" .c).cover"
        libraries="-lcmocka"
        for library in $(listed Libraries "$1"); do libraries="$libraries -l$library"; done
        # shellcheck disable=SC2046,SC2086
        "$CC" -std=gnu11 -D_GNU_SOURCE -g -O0 -I. -fprofile-instr-generate -fcoverage-mapping \
            "$test" $(listed Sources "$1" | sed 's/ base\/rc\.c / /') base/rc.c $libraries -o "$binary"
        LLVM_PROFILE_FILE="$OUT/$1.$(basename "$test").profraw" "$binary" >/dev/null 2>&1
        objects="$objects -object $binary"
    done
    llvm-profdata merge "$OUT/$1".*.profraw -o "$OUT/$1.profdata"
    # shellcheck disable=SC2086
    llvm-cov export $objects -instr-profile="$OUT/$1.profdata" -summary-only "$parser" |
        python3 -c '
import json, sys
name, parser, bar = sys.argv[1:4]
lines = json.load(sys.stdin)["data"][0]["files"][0]["summary"]["lines"]
print("%s: %s %d of %d lines, %.1f %%" % (name, parser, lines["covered"], lines["count"], lines["percent"]))
sys.exit(lines["percent"] < float(bar))' "$1" "$parser" $BAR
}

status=0
for name in "$@"; do
    if [ $coverage = 1 ]; then
        cover_one "$name" || status=1
    else
        fuzz_one "$name" || status=1
    fi
done
exit $status
