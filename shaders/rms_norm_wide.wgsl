// n = gain · x / rms(x) as wide rows.
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
@group(0) @binding(3) var<storage, read_write> n: array<u32>; // [tokens, width] wide rows
@group(0) @binding(4) var<storage, read_write> n_info: array<u32>; // [tokens, 4]
@group(0) @binding(5) var<storage, read_write> norm_info: array<u32>; // [tokens, 4]

// One element to 14 bits; 0 beyond the row.
fn rounded(at: u32, column: u32, shift: u32) -> i32 {
    if column >= params.width {
        return 0i;
    }
    return bitcast<i32>(round_even_64(multiply_i32(x[at + column], gain[column]), shift).x);
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
    let wide_shift = shift_for(best.zw, WIDE_BITS);

    var sums = vec4(0u); // copies' squares, n
    for (var word = lane; word < words; word += LANES) {
        let column = word << 2u;
        for (var i = column; i < min(column + 4u, params.width); i++) {
            let copy = copy_of(x[at + i], shift);
            sums = add_pair(sums, vec4(bitcast<u32>(copy * copy), 0u, 0u, 0u));
        }
        let values = vec4(
            rounded(at, column, wide_shift),
            rounded(at, column + 1u, wide_shift),
            rounded(at, column + 2u, wide_shift),
            rounded(at, column + 3u, wide_shift),
        );
        n[token * 2u * words + word] = wide_high(values);
        n[(token * 2u + 1u) * words + word] = wide_low(values);
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
        let unit = scale_shift(rms.inverse, params.gain_exponent + bitcast<i32>(wide_shift));
        n_info[info] = unit.mantissa;
        n_info[info + 1u] = bitcast<u32>(unit.exponent);
        n_info[info + 2u] = sums.z;
        n_info[info + 3u] = 0u;
    }
}
