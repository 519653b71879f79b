// Ternary weights in block words (4×4 trits in one word; see src/numbers/ternary.rs), and their products with int8
// values. A trit (−1, 0 or 1) is stored as its code, trit + 1.

// Returns the number of words of a byte row, which holds `width` int8 values and is padded to a multiple of 32 bytes.
fn row_words(width: u32) -> u32 {
    return ((width + 31u) >> 5u) << 3u;
}

// Transposes a 4×4 block of 2-bit codes, by two delta swaps.
fn transpose_block(word: u32) -> u32 {
    var swap = ((word >> 6u) ^ word) & 0x00CC00CCu;
    let half = word ^ swap ^ (swap << 6u);
    swap = ((half >> 12u) ^ half) & 0x0000F0F0u;
    return half ^ swap ^ (swap << 12u);
}

fn transpose_blocks(words: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(
        transpose_block(words.x), transpose_block(words.y), transpose_block(words.z), transpose_block(words.w),
    );
}

// Returns, for each of four features, the inner product of four elements of an input row (int8) with the feature's
// codes for these elements.
fn code_dots(codes: vec4<u32>, bytes: u32) -> vec4<i32> {
    return vec4<i32>(
        dot4I8Packed(codes.x, bytes), dot4I8Packed(codes.y, bytes),
        dot4I8Packed(codes.z, bytes), dot4I8Packed(codes.w, bytes),
    );
}

// The sums of one token for 16 features. Component i of `a`, `b`, `c` and `d` belongs to feature 4i, 4i + 1, 4i + 2
// and 4i + 3, respectively.
struct BlockSums {
    a: vec4<i32>,
    b: vec4<i32>,
    c: vec4<i32>,
    d: vec4<i32>,
}

// The codes (trits plus 1) of 16 features for four input elements. A word has the four codes of one feature, one in
// each byte. Component i of `a`, `b`, `c` and `d` belongs to feature 4i, 4i + 1, 4i + 2 and 4i + 3, respectively.
struct BlockCodes {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

// Unpacks the codes of four block words. In each word, byte i has the codes of four features for input element i.
fn blocks_codes(words: vec4<u32>) -> BlockCodes {
    let mask = vec4<u32>(0x03030303u);
    return BlockCodes(
        words & mask, (words >> vec4<u32>(2u)) & mask, (words >> vec4<u32>(4u)) & mask, (words >> vec4<u32>(6u)) & mask,
    );
}

// Adds to `sums`, for each of 16 features, the inner product of four elements of a token's input row (int8) with the
// feature's codes for these elements.
fn add_dots(sums: ptr<function, BlockSums>, codes: BlockCodes, bytes: u32) {
    (*sums).a += code_dots(codes.a, bytes);
    (*sums).b += code_dots(codes.b, bytes);
    (*sums).c += code_dots(codes.c, bytes);
    (*sums).d += code_dots(codes.d, bytes);
}

// Multiplies the sums by 256 before the products of the next, lower int8 plane of the input are added to them. Sums
// that are formed with codes (trits plus 1) may wrap, but they stay correct modulo 2^32. The final sums, formed with
// trits, fit in i32, so they are exact.
fn next_plane(sums: ptr<function, BlockSums>) {
    *sums = BlockSums((*sums).a * 256, (*sums).b * 256, (*sums).c * 256, (*sums).d * 256);
}
