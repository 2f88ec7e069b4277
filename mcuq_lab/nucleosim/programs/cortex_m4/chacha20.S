#define ROUNDS 20
#include "chacha.h"
