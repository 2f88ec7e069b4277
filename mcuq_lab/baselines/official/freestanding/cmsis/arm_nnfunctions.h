/* What other libraries look for under this name. */
#include "arm_nnsupportfunctions.h"
