#include "kernels/cuda/conv3x3_hopper_launch.cuh"

cudaError_t hopper_conv_u8(const struct hopper_conv *conv, struct hopper_shape shape, int blocks,
                           bool early, cudaStream_t stream)
{
    const hopper::variant *all = hopper::variants<hopper::u8>::all;
    constexpr size_t count = sizeof hopper::variants<hopper::u8>::all / sizeof *all;
    return hopper::launch(all, count, conv, shape, blocks, early, stream);
}
