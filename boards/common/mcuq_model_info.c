/* The numbers of the network's model.h as data, so that neither harness nor host needs that header:
 * the harness is compiled once, this file with each network. */
#include "mcuq_harness.h"
#include "model.h"

_Static_assert(MCUQ_INPUT_OFFSET + MCUQ_INPUT_BYTES <= MCUQ_ARENA_BYTES,
               "the input tensor lies within the arena");
_Static_assert(MCUQ_OUTPUT_OFFSET + MCUQ_OUTPUT_BYTES <= MCUQ_ARENA_BYTES,
               "the output tensor lies within the arena");

const struct mcuq_model_info mcuq_model_info = {
    .input_bytes = MCUQ_INPUT_BYTES,
    .output_bytes = MCUQ_OUTPUT_BYTES,
    .arena_bytes = MCUQ_ARENA_BYTES,
    .layer_count = MCUQ_LAYER_COUNT,
    .input_offset = MCUQ_INPUT_OFFSET,
    .output_offset = MCUQ_OUTPUT_OFFSET,
};
