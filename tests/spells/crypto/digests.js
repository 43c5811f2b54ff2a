// Digests and base64 take any bytes; ids are never the same.
console.log(crypto.sha256(new Uint8Array([255, 0])));
console.log(crypto.hmacSha256("key", "text"));
const bytes = new Uint8Array([255, 254]);
console.log(`${crypto.base64Encode(bytes)}\t${crypto.base64Encode(bytes, { urlSafe: true })}`);
let refused;
try {
    crypto.base64Decode("!");
} catch (error) {
    refused = error.message;
}
console.log(`${crypto.base64Decode("//4=").join() === "255,254"}\t${refused}`);
console.log([crypto.uuid().length, crypto.randomUUID() !== crypto.randomUUID(), crypto.randomHex(4).length].join("\t"));
