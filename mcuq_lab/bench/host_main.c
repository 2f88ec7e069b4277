/* Runs a generated network on this computer: inputs from stdin, outputs to stdout.
 *
 * stdin:  two native uint32: number of inputs, bytes of one input; then the inputs.
 * stdout: one output of MCUQ_OUTPUT_BYTES for each input.
 * exit:   0; 64 when the inputs do not have the network's size; 74 when a stream ends early.
 *
 * Input and output buffers have exactly the network's sizes and lie on the heap, and the arena is
 * painted before each inference, so that a sanitizer sees an access beyond any of them, and a read
 * of the arena before it was written gives a wrong result instead of a lucky zero.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

_Static_assert(MCUQ_INPUT_OFFSET + MCUQ_INPUT_BYTES <= MCUQ_ARENA_BYTES,
               "the input tensor lies within the arena");
_Static_assert(MCUQ_OUTPUT_OFFSET + MCUQ_OUTPUT_BYTES <= MCUQ_ARENA_BYTES,
               "the output tensor lies within the arena");

enum { PAINT = 0xA5, EXIT_WRONG_SIZE = 64, EXIT_STREAM = 74 };

int main(void)
{
    uint32_t header[2];
    if (fread(header, sizeof header, 1, stdin) != 1) {
        return EXIT_STREAM;
    }
    if (header[1] != MCUQ_INPUT_BYTES) {
        fprintf(stderr, "one input has %u bytes, the network takes %u\n", (unsigned)header[1],
                (unsigned)MCUQ_INPUT_BYTES);
        return EXIT_WRONG_SIZE;
    }
    uint8_t *input = malloc(MCUQ_INPUT_BYTES);
    uint8_t *output = malloc(MCUQ_OUTPUT_BYTES);
    if (input == NULL || output == NULL) {
        return EXIT_STREAM;
    }
    for (uint32_t i = 0; i < header[0]; ++i) {
        if (fread(input, MCUQ_INPUT_BYTES, 1, stdin) != 1) {
            return EXIT_STREAM;
        }
        memset(mcuq_arena, PAINT, MCUQ_ARENA_BYTES);
        memset(output, PAINT, MCUQ_OUTPUT_BYTES);
        mcuq_invoke(input, output);
        if (fwrite(output, MCUQ_OUTPUT_BYTES, 1, stdout) != 1) {
            return EXIT_STREAM;
        }
    }
    free(input);
    free(output);
    return 0;
}
