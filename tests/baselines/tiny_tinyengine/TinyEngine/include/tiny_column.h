/* What the kernels share; not part of the API. */
#ifndef TINY_COLUMN_H
#define TINY_COLUMN_H

#include "arm_nnfunctions.h"

#include "tinyengine_function.h"

/* bias + weights times a column, four at a time; `count` is a multiple of four. */
q31_t tiny_dot(const q7_t *kernel, const q15_t *column, int count, int reordered, q31_t bias);

/* Four inputs plus an offset, into a column. */
void tiny_fill(const q7_t *from, q15_t *column, int count, int reordered, int offset);

#endif
