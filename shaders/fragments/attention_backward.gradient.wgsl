// The gradient with respect to attention probabilities: dP = dout · v. Each inner product is shifted by the exponent of
// its v row, so that all inner products of a query have the same unit.

// Returns dP of a query and a key in units of 2^(dout exponent + top − 25), from the inner product of their dout and v
// rows; |dP| ≤ 2^61. `top` is the largest exponent of the v rows that the query sees.
fn folded_gradient(dot: vec2<u32>, top: i32, value_exponent: i32) -> vec2<u32> {
    return shift_right_signed_64(shift_left_64(dot, 25u), distance_to(top, value_exponent));
}

// Returns the 64-bit key from which the dithers (pseudorandom bits for rounding) of one tensor are generated. `stream`
// is the index of the key in the buffer `dither`.
fn dither_key(stream: u32) -> vec2<u32> {
    return vec2(dither[2u + (stream << 1u)], dither[3u + (stream << 1u)]);
}
