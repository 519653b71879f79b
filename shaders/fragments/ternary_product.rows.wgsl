// Functions that locate the input of a ternary product (int8 rows times weights −1, 0 and 1), and write its output.

// Returns, for each of tokens t to t + 3, the word index at which the token's input row starts. A token past the last
// one gets the index of the last token.
fn input_rows(t: u32) -> vec4<u32> {
    let tokens = min(vec4<u32>(t) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.tokens - 1u));
    return tokens * (planes() * row_words(input_len()));
}

// Writes the results of token t for features f to f + 15. The sums were formed with codes (trit + 1), so the sum
// of the token's inputs is subtracted from each. Component i of `sums.a` belongs to feature f + 4i, that of `sums.b` to
// f + 4i + 1, that of `sums.c` to f + 4i + 2, and that of `sums.d` to f + 4i + 3.
fn store(t: u32, f: u32, sums: BlockSums) {
    if t < params.tokens {
        let row = result_at(t);
        let offset = input_sum(t);
        store_part(row, f, sums.a - offset);
        store_part(row, f + 1u, sums.b - offset);
        store_part(row, f + 2u, sums.c - offset);
        store_part(row, f + 3u, sums.d - offset);
    }
}

fn store_part(row: u32, f: u32, part: vec4<i32>) {
    if f < features() {
        out[row + f] = part.x;
    }
    if f + 4u < features() {
        out[row + f + 4u] = part.y;
    }
    if f + 8u < features() {
        out[row + f + 8u] = part.z;
    }
    if f + 12u < features() {
        out[row + f + 12u] = part.w;
    }
}
