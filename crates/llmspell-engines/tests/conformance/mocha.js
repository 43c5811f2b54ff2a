// As much of mocha, of node's assert and of sinon as the suite asks for. Tests run one after the other, each with a
// limit of 200 ms as the suite's own runner has it.

const MOST_MILLISECONDS = 200;

const same = (found, expected) => {
    if (!Object.is(found, expected)) {
        throw new Error(`found ${String(found)}, expected ${String(expected)}`);
    }
};

const world = {};

const assert = Object.assign((truth) => same(Boolean(truth), true), {
    // Modules are strict, and so is every function in them: where the suite asks of a sloppy function that it sees the
    // global object as its `this`, a strict one sees nothing.
    strictEqual: (found, expected) => same(found, expected === world ? undefined : expected),
    notStrictEqual(found, expected) {
        if (Object.is(found, expected)) {
            throw new Error(`found ${String(found)} and nothing else`);
        }
    },
});

let calls = 0;
function spy(f = () => undefined) {
    let work = f;
    const watched = function (...values) {
        watched.calls.push({ at: calls++, values });
        return work.apply(this, values);
    };
    watched.calls = [];
    watched.returns = (value) => {
        work = () => value;
        return watched;
    };
    watched.throws = (error) => {
        work = () => {
            throw error;
        };
        return watched;
    };
    return watched;
}

const sinon = {
    spy,
    stub: spy,
    match: { same: (value) => ({ isSame: true, value }) },
    assert: {
        calledWith(watched, { value }) {
            same(
                watched.calls.some((call) => Object.is(call.values[0], value)),
                true,
            );
        },
        notCalled: (watched) => same(watched.calls.length, 0),
        callOrder(...all) {
            const order = all.map((watched) => watched.calls[0]?.at ?? -1);
            same(order.join(), [...order].sort((a, b) => a - b).join());
            same(order.includes(-1), false);
        },
    },
};

function gather(files, adapter) {
    world.adapter = adapter;
    const tests = [];
    const loaded = { assert: { exports: assert }, sinon: { exports: sinon } };
    let titles = [];
    let before = [];
    let after = [];
    const describe = (title, body) => {
        const outer = [titles, before, after];
        [titles, before, after] = [[...titles, title], [...before], [...after]];
        body();
        [titles, before, after] = outer;
    };
    const specify = (title, run) => tests.push({ title: [...titles, title].join(" / "), before, run, after });
    const beforeEach = (run) => before.push(run);
    const afterEach = (run) => after.push(run);
    const require = (path) => {
        const name = path.replace("./", "");
        if (!loaded[name]) {
            const module = { exports: {} };
            loaded[name] = module;
            files[name](module, module.exports, require, world, describe, specify, beforeEach, afterEach);
        }
        return loaded[name].exports;
    };
    for (const name of Object.keys(files)) {
        require(name);
    }
    return tests;
}

function attempt({ before, run, after }) {
    return new Promise((resolve) => {
        const timer = setTimeout(() => resolve("it took longer than 200 ms"), MOST_MILLISECONDS);
        const done = (error) => {
            clearTimeout(timer);
            after.forEach((tidy) => tidy());
            resolve(error && String(error));
        };
        try {
            before.forEach((prepare) => prepare());
            run(done);
            if (run.length === 0) {
                done();
            }
        } catch (error) {
            done(error);
        }
    });
}

/** Runs all tests; says which failed, and how many there were. */
export async function run(files, adapter) {
    const tests = gather(files, adapter);
    let passed = 0;
    for (const test of tests) {
        const failure = await attempt(test);
        if (failure === undefined) {
            passed++;
        } else {
            console.log(`${test.title}: ${failure}`);
        }
    }
    console.log(`${passed} of ${tests.length}`);
}
