#include "kernels/cuda/conv3x3_hopper_launch.cuh"

cudaError_t hopper_conv_f16(const struct hopper_conv *conv, struct hopper_shape shape, int blocks,
                           bool early, cudaStream_t stream)
{
    const hopper::variant *all = hopper::variants<hopper::f16>::all;
    constexpr size_t count = sizeof hopper::variants<hopper::f16>::all / sizeof *all;
    return hopper::launch(all, count, conv, shape, blocks, early, stream);
}

template <int N, int ROW> static constexpr int resident = hopper::sizes<N, ROW>::slots;

int hopper_resident(struct hopper_shape shape)
{
    if (shape.row_bytes == 64)
        return shape.pixels == 256 ? resident<256, 64> : 0;
    return shape.pixels == 256 ? resident<256, 128> : shape.pixels == 128 ? resident<128, 128> : 0;
}
