// Rounds a gradient of the residual stream with dither: dy = dither_round(gradient). The result is written as wide rows
// (integers of magnitude ≤ 2^14, as two int8 planes). One workgroup computes one row; each invocation computes four
// elements at a time.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(2) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
@group(0) @binding(3) var<storage, read_write> dy: array<u32>; // [tokens, width] wide rows
@group(0) @binding(4) var<storage, read_write> dy_info: array<u32>; // [tokens, 4] row info

// Returns one element of the gradient, divided by 2^shift and rounded with its dither to 14 bits. Returns 0 past the
// end of the row.
fn rounded(at: u32, column: u32, shift: u32, dither: u32) -> i32 {
    if column >= params.width {
        return 0i;
    }
    return bitcast<i32>(round_dither_64(extend_64(gradient[at + column]), shift, dither).x);
}

@compute @workgroup_size(row_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let lane = local.x;
    let at = token * (params.width + 4u);
    let words = row_words(params.width);

    var best = vec4(0u);
    for (var column = lane; column < params.width; column += row_lanes) {
        best = max_pair(best, vec4(magnitude_i32(gradient[at + column]), 0u, 0u));
    }
    let shift = shift_for(row_max(lane, best).xy, WIDE_BITS);

    let key = vec2(dither[2u + 2u * params.stream], dither[3u + 2u * params.stream]);
    var sums = vec4(0u);
    for (var word = lane; word < words; word += row_lanes) {
        let column = word << 2u;
        let dithers = dither_word(key, dither[0] + token, word);
        let values = vec4(
            rounded(at, column, shift, dithers.x),
            rounded(at, column + 1u, shift, dithers.y),
            rounded(at, column + 2u, shift, dithers.z),
            rounded(at, column + 3u, shift, dithers.w),
        );
        dy[token * 2u * words + word] = wide_high(values);
        dy[(token * 2u + 1u) * words + word] = wide_low(values);
        sums = add_pair(sums, vec4(extend_64(sum_of(values)), 0u, 0u));
    }
    sums = row_sum(lane, sums);

    if lane == 0u {
        let end = at + params.width;
        let unit = scale_shift(Scale(bitcast<u32>(gradient[end]), gradient[end + 1u]), bitcast<i32>(shift));
        let info = token * 4u;
        dy_info[info] = unit.mantissa;
        dy_info[info + 1u] = bitcast<u32>(unit.exponent);
        dy_info[info + 2u] = sums.x;
        dy_info[info + 3u] = 0u;
    }
}
