// Times are written and read in UTC; what is wrong is thrown.
console.log(`${time.format(0)}\t${time.format(1.5, "%F %T")}`);
console.log(`${time.parse("1970-01-02T00:00:00Z")}\t${time.parse("2 Jan 1970", "%d %b %Y")}`);
try {
    time.parse("soon");
} catch (error) {
    console.log(error.kind);
}
await time.sleep(-1).catch((error) => console.log(error.message));
const began = time.clock();
await time.sleep(0.02);
console.log(`${time.clock() - began >= 0.02}\t${time.now() > 1700000000}`);
