#define ROUNDS 8
#include "chacha.h"
