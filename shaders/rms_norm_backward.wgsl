// The gradient of RMSNorm: dx = residual + (g − c · x) / rms, where `residual` is the gradient of the residual stream,
// g = gain · Σ dn, c = Σ g·x / (Σ x² + width · epsilon), and Σ dn adds up the gradients of the norm's output. There are
// one to three of these gradients, each in its own slot: one from each linear layer that reads this output, or one from
// the output head.
// One workgroup computes one row. Between passes over the row, dx stores the intermediate values of its elements.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    slots: u32,
    residual_stride: u32,
    gain_exponent: i32,
    inverse_width: u32,
    inverse_width_exponent: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dn: array<i32>; // [tokens, slots, width + 4] i32 rows
@group(0) @binding(2) var<storage, read> x: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(3) var<storage, read> gain: array<i32>; // [width] within ±65,535
@group(0) @binding(4) var<storage, read> norm_info: array<u32>; // [tokens, 4]: 1 / rms(x), scale of x / rms(x)
@group(0) @binding(5) var<storage, read> residual: array<i32>; // [tokens or 1, width + 4] i32 rows
@group(0) @binding(6) var<storage, read_write> dx: array<i32>; // [tokens, width + 4] i32 rows

fn slot_scale(row: u32) -> Scale {
    let info = row * (params.width + 4u) + params.width;
    return Scale(bitcast<u32>(dn[info]), dn[info + 1u]);
}

// Returns the largest exponent among the scales of a token's rows of `dn`. There is one row from each linear layer that
// reads the norm's output, or one from the output head.
fn top_exponent(token: u32) -> i32 {
    var top = LOWEST_EXPONENT;
    for (var slot = 0u; slot < params.slots; slot++) {
        top = max(top, exponent_of(slot_scale(token * params.slots + slot)));
    }
    return top;
}

// Returns the sum of a token's values of `dn` in one column, in units of 2^(top + 2), where `top` is the token's
// `top_exponent`. A token has at most three rows of `dn`, so the magnitude is ≤ 3 · 2^60.
fn slot_sum(token: u32, column: u32, top: i32) -> vec2<u32> {
    var sum = vec2(0u);
    for (var slot = 0u; slot < params.slots; slot++) {
        let row = token * params.slots + slot;
        let scale = slot_scale(row);
        let product = multiply_i32(dn[row * (params.width + 4u) + column], bitcast<i32>(scale.mantissa));
        let distance = distance_to(top, exponent_of(scale));
        sum = add_64(sum, shift_right_signed_64(round_even_64(product, 2u), distance));
    }
    return sum;
}

// The coefficient c in the gradient of RMSNorm, dx = residual + (g − c · x) / rms, as a signed mantissa, a right shift
// and a left shift. One of the shifts is 0.
struct Projection {
    mantissa: i32,
    right: u32,
    left: u32,
}

// Returns g − c · x of one element, where g = gain · value, and c is the coefficient of x in the gradient of RMSNorm.
// The magnitude of `value` is ≤ 2^30, and that of the result is ≤ 2^46 + 2^55.
fn projected(value: i32, gain: i32, x: i32, c: Projection) -> vec2<u32> {
    let along = shift_left_64(round_even_64(multiply_i32(x, c.mantissa), c.right), c.left);
    return subtract_64(multiply_i32(value, gain), along);
}

// Factors and right shifts that bring the two terms of dx to the same unit. The terms are the gradient through the norm
// (branch) and the gradient of the residual stream (straight).
struct Join {
    inverse_rms: u32,
    branch: u32,
    scale: u32,
    straight: u32,
}

// Returns value / rms + residual, the sum of the gradient through the norm and the gradient of the residual stream, in
// the unit that both terms have after the shifts of `join`. The magnitude is ≤ 2^60 + 2^61.
fn joined(value: i32, residual: i32, join: Join) -> vec2<u32> {
    let branch = round_even_64(multiply_i32(value, bitcast<i32>(join.inverse_rms)), 1u);
    let straight = round_even_64(multiply_i32(residual, bitcast<i32>(join.scale)), 1u);
    return add_64(shift_right_signed_64(branch, join.branch), shift_right_signed_64(straight, join.straight));
}

fn is_zero(value: vec2<u32>) -> bool {
    return (value.x | value.y) == 0u;
}

@compute @workgroup_size(row_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let lane = local.x;
    let width = params.width;
    let at = token * (width + 4u);
    let residual_at = token * params.residual_stride * (width + 4u);
    let inverse_rms = Scale(norm_info[token * 4u], bitcast<i32>(norm_info[token * 4u + 1u]));
    let inverse = Scale(norm_info[token * 4u + 2u], bitcast<i32>(norm_info[token * 4u + 3u]));

    // Find the shifts that reduce Σ dn (the gradient of the norm's output) to 30 bits and x (its input) to 15 bits.
    let top = top_exponent(token);
    var best = vec4(0u);
    for (var column = lane; column < width; column += row_lanes) {
        let sum = magnitude_64(slot_sum(token, column, top));
        best = max_pair(best, vec4(sum, magnitude_i32(x[at + column])));
    }
    best = row_max(lane, best);
    let sum_shift = shift_for(best.xy, ROW_BITS);
    let x_shift = copy_shift(best.zw);

    // Compute c = Σ g·x / (Σ x² + width · epsilon). In Σ g·x, g is rounded to 30 bits and x to 15 bits, so |Σ g·x| ≤
    // 2^45 · width.
    var sums = vec4(0u);
    for (var column = lane; column < width; column += row_lanes) {
        let value = bitcast<i32>(round_even_64(slot_sum(token, column, top), sum_shift).x);
        dx[at + column] = value;
        let g = bitcast<i32>(round_even_64(multiply_i32(value, gain[column]), 16u).x);
        sums = add_pair(sums, vec4(multiply_i32(g, copy_of(x[at + column], x_shift)), 0u, 0u));
    }
    let dot = row_sum(lane, sums).xy;
    var scale = scale_new(magnitude_64(dot), 16i + bitcast<i32>(x_shift));
    scale = scale_multiply(scale_multiply(scale, inverse), inverse);
    scale = scale_multiply(scale, Scale(params.inverse_width, params.inverse_width_exponent));
    let mantissa = bitcast<i32>(scale.mantissa);
    let right = bitcast<u32>(clamp(-scale.exponent, 0i, 63i));
    let left = bitcast<u32>(clamp(scale.exponent, 0i, 24i));
    let c = Projection(select(mantissa, -mantissa, is_negative(dot)), right, left);

    // Find the largest |g − c · x| in the row, and the shift that reduces it to 30 bits.
    best = vec4(0u);
    for (var column = lane; column < width; column += row_lanes) {
        let value = projected(dx[at + column], gain[column], x[at + column], c);
        best = max_pair(best, vec4(magnitude_64(value), 0u, 0u));
    }
    best = row_max(lane, best);
    let branch_shift = shift_for(best.xy, ROW_BITS);
    let shifts = bitcast<i32>(sum_shift + branch_shift);
    let branch_unit = top + 2i + shifts + params.gain_exponent + inverse_rms.exponent;
    let unit = select(branch_unit, ZERO_EXPONENT, is_zero(best.xy));

    // Multiply g − c · x by 1 / rms, and add the gradient of the residual stream.
    let straight = Scale(bitcast<u32>(residual[residual_at + width]), residual[residual_at + width + 1u]);
    let joined_top = max(unit, exponent_of(straight));
    let straight_distance = distance_to(joined_top, exponent_of(straight));
    let join = Join(inverse_rms.mantissa, distance_to(joined_top, unit), straight.mantissa, straight_distance);
    best = vec4(0u);
    for (var column = lane; column < width; column += row_lanes) {
        let branch = projected(dx[at + column], gain[column], x[at + column], c);
        let value = bitcast<i32>(round_even_64(branch, branch_shift).x);
        dx[at + column] = value;
        let sum = magnitude_64(joined(value, residual[residual_at + column], join));
        best = max_pair(best, vec4(sum, 0u, 0u));
    }
    best = row_max(lane, best);
    let shift = shift_for(best.xy, ROW_BITS);
    for (var column = lane; column < width; column += row_lanes) {
        let sum = joined(dx[at + column], residual[residual_at + column], join);
        dx[at + column] = bitcast<i32>(round_even_64(sum, shift).x);
    }

    if lane == 0u {
        var result = scale_power(joined_top + 1i + bitcast<i32>(shift));
        if is_zero(best.xy) {
            result = Scale(0u, 0i);
        }
        dx[at + width] = bitcast<i32>(result.mantissa);
        dx[at + width + 1u] = result.exponent;
        dx[at + width + 2u] = 0i;
        dx[at + width + 3u] = 0i;
    }
}
