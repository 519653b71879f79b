// q = round(127 · n / max|n|), n = gain · x / rms(x): RMSNorm, then absmax int8.
// One workgroup: one row, four elements an invocation at a time.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    gain_exponent: i32,
    inverse_width: u32,
    inverse_width_exponent: i32,
    epsilon: u32,
    epsilon_exponent: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(2) var<storage, read> gain: array<i32>; // [width] within ±65,535
@group(0) @binding(3) var<storage, read_write> q: array<u32>; // [tokens, width] byte rows
@group(0) @binding(4) var<storage, read_write> q_info: array<u32>; // [tokens, 4]
@group(0) @binding(5) var<storage, read_write> norm_info: array<u32>; // [tokens, 4]

// What every element of the row is divided by.
struct Steps {
    bits: u32, // of the largest product
    steps: u32, // 127 · 2^54 / (that product brought to 31 bits)
}

// A magnitude ≤ 2^47 with the row's largest brought to 31 bits.
fn normalized(magnitude: vec2<u32>, bits: u32) -> u32 {
    if bits > 31u {
        return shift_right_64(magnitude, bits - 31u).x;
    }
    return magnitude.x << ((31u - bits) & 31u);
}

// The int8 of one element; 0 beyond the row.
fn quantized(at: u32, column: u32, steps: Steps) -> i32 {
    if column >= params.width {
        return 0i;
    }
    let product = multiply_i32(x[at + column], gain[column]);
    let scaled = multiply_u32(normalized(magnitude_64(product), steps.bits), steps.steps); // < 2^62
    let value = bitcast<i32>(round_even_64(scaled, 54u).x);
    return select(value, -value, is_negative(product));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let lane = local.x;
    let at = token * (params.width + 4u);
    let words = row_words(params.width);

    var best = vec4(0u); // |x|, |gain · x|
    for (var column = lane; column < params.width; column += LANES) {
        let value = x[at + column];
        best = max_pair(best, vec4(magnitude_i32(value), magnitude_64(multiply_i32(value, gain[column]))));
    }
    best = row_max(lane, best);
    let shift = copy_shift(best.xy);
    let bits = bits_64(best.zw);
    let largest = normalized(best.zw, bits); // 0, or 2^30..2^31
    var steps = Steps(bits, 0u);
    if largest != 0u {
        steps.steps = divide(127u << 22u, largest, 32u);
    }

    var sums = vec4(0u); // copies' squares, q
    for (var word = lane; word < words; word += LANES) {
        let column = word << 2u;
        for (var i = column; i < min(column + 4u, params.width); i++) {
            let copy = copy_of(x[at + i], shift);
            sums = add_pair(sums, vec4(bitcast<u32>(copy * copy), 0u, 0u, 0u));
        }
        let values = vec4(
            quantized(at, column, steps),
            quantized(at, column + 1u, steps),
            quantized(at, column + 2u, steps),
            quantized(at, column + 3u, steps),
        );
        q[token * words + word] = pack4xI8(values);
        sums = add_pair(sums, vec4(0u, 0u, extend_64(sum_of(values))));
    }
    sums = row_sum(lane, sums);

    if lane == 0u {
        let scale = Scale(bitcast<u32>(x[at + params.width]), x[at + params.width + 1u]);
        let inverse_width = Scale(params.inverse_width, params.inverse_width_exponent);
        let rms = rms_new(sums.xy, shift, scale, inverse_width, Scale(params.epsilon, params.epsilon_exponent));
        let info = token * 4u;
        norm_info[info] = rms.inverse_rms.mantissa;
        norm_info[info + 1u] = bitcast<u32>(rms.inverse_rms.exponent);
        norm_info[info + 2u] = rms.inverse.mantissa;
        norm_info[info + 3u] = bitcast<u32>(rms.inverse.exponent);
        var unit = Scale(0u, 0i);
        if largest != 0u {
            let top = Scale(largest, bitcast<i32>(bits) - 31i + params.gain_exponent);
            unit = scale_multiply(scale_multiply(rms.inverse, top), scale_reciprocal(scale_new(vec2(127u, 0u), 0i)));
        }
        q_info[info] = unit.mantissa;
        q_info[info + 1u] = bitcast<u32>(unit.exponent);
        q_info[info + 2u] = sums.z;
        q_info[info + 3u] = 0u;
    }
}
