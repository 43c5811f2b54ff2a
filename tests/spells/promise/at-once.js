// How many may be at work at once is a whole number from 1; anything else is said, and nothing is begun.
for (const most of [1, 2, 100, 0, -1, 1.5, NaN, "two"]) {
    let begun = 0;
    const result = await promise
        .map([1, 2, 3], async (number) => {
            begun += 1;
            return number * 2;
        }, { concurrency: /** @type {any} */ (most) })
        .then((results) => results.join(" "), (error) => error.message);
    console.log([result, begun].join("\t"));
}
