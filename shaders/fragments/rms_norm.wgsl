// RMSNorm: n = gain · x / rms(x), where rms(x) = √(mean(x²) + epsilon). The file of the kernel has the function that
// rounds the products gain · x. One workgroup computes one row; each invocation computes four elements at a time.

// Returns the rounded product gain · x in one column of the row that starts at x[at]; 0 past the end of the row.
fn element(at: u32, column: u32, rounding: Rounding) -> i32 {
    if column >= params.width {
        return 0i;
    }
    return rounded(multiply_i32(x[at + column], gain[column]), rounding);
}

@compute @workgroup_size(row_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let lane = local.x;
    let at = token * (params.width + 4u);
    let words = row_words(params.width);

    var best = vec4(0u); // the largest |x| and |gain · x|
    for (var column = lane; column < params.width; column += row_lanes) {
        let value = x[at + column];
        best = max_pair(best, vec4(magnitude_i32(value), magnitude_64(multiply_i32(value, gain[column]))));
    }
    best = row_max(lane, best);
    let shift = copy_shift(best.xy);
    let rounding = rounding_of(best.zw);

    var sums = vec4(0u); // sums of the squares of x's copies, and of the result's integers
    for (var word = lane; word < words; word += row_lanes) {
        let column = word << 2u;
        for (var i = column; i < min(column + 4u, params.width); i++) {
            let copy = copy_of(x[at + i], shift);
            sums = add_pair(sums, vec4(bitcast<u32>(copy * copy), 0u, 0u, 0u));
        }
        let values = vec4(
            element(at, column, rounding),
            element(at, column + 1u, rounding),
            element(at, column + 2u, rounding),
            element(at, column + 3u, rounding),
        );
        put_word(token, words, word, values);
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
        put_info(token, rms.inverse, rounding, sums.z);
    }
}
