/* Nothing of it is linked: kernels include it for size_t at most. */
#include <stddef.h>
