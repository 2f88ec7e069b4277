// Counts primes without division: beside each of the first primes stands a multiple of it, which
// follows the number that is looked at. It ends where those primes do not suffice any more.

#include <stdint.h>

#define KEPT 42

enum verdict { COMPOSITE, PRIME, UNDECIDED };

static __attribute__((noinline)) int32_t count(void);

// `turns` times the number of primes; the last one goes to `result`.
void run(int32_t *result, int turns) {
    int32_t found = 0;
    for (int turn = 0; turn < turns; turn++)
        found = count();
    *result = found;
}

static inline enum verdict judge(
    int32_t number, int32_t root, const int32_t *primes, int32_t *multiples, int kept
) {
    for (int n = 0; n < kept; n++) {
        if (primes[n] > root)
            return PRIME;
        while (multiples[n] < number)
            multiples[n] += primes[n];
        if (multiples[n] == number)
            return COMPOSITE;
    }
    return UNDECIDED;
}

static int32_t count(void) {
    int32_t primes[KEPT], multiples[KEPT];
    int32_t found = 1, root = 2;
    int kept = 1;
    primes[0] = 2;
    multiples[0] = 4;
    for (int32_t number = 3;; number++) {
        while (root * root <= number)
            root++;
        root--;
        enum verdict verdict = judge(number, root, primes, multiples, kept);
        if (verdict == UNDECIDED)
            return found;
        if (verdict == COMPOSITE)
            continue;
        if (kept < KEPT) {
            primes[kept] = number;
            multiples[kept] = number * number;
            kept++;
        }
        found++;
    }
}
