// Tests functions in shaders/shared/, among them all functions in fixed.wgsl. Work unit u calls each tested function
// with the operands in operands[u], and stores the results in results[u].

struct Params {
    first_group: u32,
    units: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> operands: array<u32>; // [units, 8]
@group(0) @binding(2) var<storage, read_write> results: array<u32>; // [units, 76]

fn put(at: u32, value: vec2<u32>) {
    results[at] = value.x;
    results[at + 1u] = value.y;
}

fn put_scale(at: u32, scale: Scale) {
    put(at, vec2(scale.mantissa, bitcast<u32>(scale.exponent)));
}

fn put_clamped(at: u32, clamped: Clamped) {
    put(at, vec2(bitcast<u32>(clamped.value), select(0u, 1u, clamped.saturated)));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let unit = (group.y + params.first_group) * 64u + local.x;
    if unit >= params.units {
        return;
    }
    let o = unit * 8u;
    let at = unit * 76u;
    let a = vec2(operands[o], operands[o + 1u]);
    let b = vec2(operands[o + 2u], operands[o + 3u]);
    let right = operands[o + 4u]; // 0..=63
    let e = bitcast<i32>(operands[o + 5u]); // ±100
    let f = bitcast<i32>(operands[o + 6u]); // ±1000
    let i = bitcast<i32>(a.x);
    let j = bitcast<i32>(b.x);
    let value = shift_right_signed_64(a, 1u);
    let scale_a = scale_new(a, e);
    let scale_b = scale_new(b, f);
    put(at, multiply_u32(a.x, b.x));
    put(at + 2u, multiply_i32(i, j));
    put(at + 4u, multiply_64(a, b.x));
    put(at + 6u, add_64(a, b));
    put(at + 8u, subtract_64(a, b));
    put(at + 10u, negate_64(a));
    put(at + 12u, magnitude_64(a));
    put(at + 14u, max_64(a, b));
    put(at + 16u, vec2(select(0u, 1u, less_64(a, b)), select(0u, 1u, is_negative(a))));
    put(at + 18u, shift_left_64(a, right));
    put(at + 20u, shift_right_64(a, right));
    put(at + 22u, shift_right_signed_64(a, right));
    put(at + 24u, vec2(bits_64(a), shift_for(a, 14u)));
    put(at + 26u, round_even_64(value, right));
    put(at + 28u, round_dither_64(value, min(right, 62u), b.x & 0xffffu));
    put(at + 30u, align_64(a, e));
    put_clamped(at + 32u, saturate_64(a));
    put_clamped(at + 34u, shift_to_i32(value, e));
    put_scale(at + 36u, scale_a);
    put_scale(at + 38u, scale_multiply(scale_a, scale_b));
    put_scale(at + 40u, scale_add(scale_a, scale_b));
    put_scale(at + 42u, scale_reciprocal(scale_a));
    put_scale(at + 44u, scale_inverse_sqrt(scale_a));
    put_scale(at + 46u, scale_shift(scale_a, f));
    put_scale(at + 48u, scale_power(e));
    put(at + 50u, vec2(divide(scale_a.mantissa >> 1u, max(scale_b.mantissa, 0x40000000u), 32u), bitcast<u32>(round_even_i32(i, right & 31u))));
    put(at + 52u, threefry(a, b));
    put(at + 54u, vec2(dither_at(a, b.x, b.y), bitcast<u32>(exponent_of(scale_a))));
    let dithers = dither_word(a, b.x, b.y);
    put(at + 56u, dithers.xy);
    put(at + 58u, dithers.zw);
    put(at + 60u, extend_64(i));
    put(at + 62u, vec2(copy_shift(magnitude_i32(i)), bitcast<u32>(copy_of(i, copy_shift(magnitude_i32(i))))));
    let planes = vec4(clamp(i >> 16u, -16384i, 16384i), 16384i, -16384i, clamp(j >> 16u, -16384i, 16384i));
    put(at + 64u, vec2(wide_high(planes), wide_low(planes)));
    put(at + 66u, join_planes(i >> 4u, j >> 4u, i ^ j));
    let rms = rms_new(a, right & 15u, scale_b, scale_power(f), scale_power(e));
    put_scale(at + 68u, rms.inverse_rms);
    put_scale(at + 70u, rms.inverse);
    put(at + 72u, vec2(distance_to(e, f), transpose_block(a.x)));
    put(at + 74u, vec2(row_words(b.x & 0xffffffu), bitcast<u32>(sum_of(planes))));
}
