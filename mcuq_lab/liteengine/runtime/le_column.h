/* Constants of a layer's channels, in two bytes each where the layer's range allows. */
#ifndef LE_COLUMN_H
#define LE_COLUMN_H

#include <stdint.h>

#include "le_memory.h"

typedef struct {
    const void *at; /* unsigned numbers of `bytes` bytes           */
    int32_t base;   /* what is added to each of them               */
    uint32_t bytes; /* 2 or 4; 0: a layer without this constant    */
} le_column;

LE_INLINE int32_t le_column_value(const le_column *column, uint32_t index) {
    const uint8_t *numbers = column->at;
    const uint32_t number =
        column->bytes == 2 ? le_load16(numbers + 2 * index) : le_load32(numbers + 4 * index);
    return (int32_t)((uint32_t)column->base + number);
}

#endif
