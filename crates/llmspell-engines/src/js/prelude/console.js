// `console`: `log` and `info` write to stdout; `debug`, `warn`, `error` and `assert` write to the log.
export default function ({ host, natives, unbound, NativeDate }) {
    const { getOwnPropertyDescriptor, getPrototypeOf, is, isArray, ownKeys, stringify } = natives;
    const toISOString = unbound(NativeDate.prototype.toISOString);
    const NativeError = natives.Error;
    const NativeMap = natives.Map;
    const NativeSet = natives.Set;
    const NativePromise = natives.Promise;
    const NativeRegExp = natives.RegExp;
    const ArrayBufferView = natives.TypedArray;

    // Values nested deeper than DEEPEST and items past MOST are not shown.
    const DEEPEST = 4;
    const MOST = 100;
    const WIDTH = 76;

    const NAME = /^[A-Za-z_$][A-Za-z0-9_$]*$/;

    function quoted(text) {
        const inner = stringify(text);
        return text.includes("'") ? inner : `'${inner.slice(1, -1).replaceAll('\\"', '"')}'`;
    }

    function inBrackets(open, parts, close, indent) {
        if (parts.length === 0) {
            return open + close;
        }
        const line = `${open} ${parts.join(", ")} ${close}`;
        if (line.length + indent.length <= WIDTH && !line.includes("\n")) {
            return line;
        }
        const inner = `${indent}  `;
        return `${open}\n${inner}${parts.join(`,\n${inner}`)}\n${indent}${close}`;
    }

    function className(value) {
        const prototype = getPrototypeOf(value);
        const maker = prototype && getOwnPropertyDescriptor(prototype, "constructor");
        const name = maker && typeof maker.value === "function" ? maker.value.name : "";
        return prototype === null ? "[Object: null prototype]" : name === "Object" ? "" : name;
    }

    function fields(value, skip, show) {
        const parts = [];
        for (const key of ownKeys(value)) {
            const descriptor = getOwnPropertyDescriptor(value, key);
            if (!descriptor || !descriptor.enumerable || skip(key)) {
                continue;
            }
            const name = typeof key === "symbol" ? `[${String(key)}]` : NAME.test(key) ? key : quoted(key);
            parts.push(`${name}: ${descriptor.get ? "[Getter]" : show(descriptor.value)}`);
            if (parts.length === MOST) {
                parts.push("...");
                break;
            }
        }
        return parts;
    }

    function listed(items, show) {
        const parts = [];
        for (const item of items) {
            if (parts.length === MOST) {
                parts.push("...");
                break;
            }
            parts.push(show(item));
        }
        return parts;
    }

    function shownError(error, show, indent) {
        const stack = typeof error.stack === "string" ? error.stack.trimEnd() : "";
        const head = error.message ? `${error.name}: ${error.message}` : `${error.name}`;
        const own = fields(error, (key) => key === "stack" || key === "message", show);
        const rest = own.length > 0 ? ` ${inBrackets("{", own, "}", indent)}` : "";
        return (stack ? `${head}\n${stack}` : head) + rest;
    }

    function shown(value, seen, indent) {
        switch (typeof value) {
            case "string":
                return quoted(value);
            case "bigint":
                return `${value}n`;
            case "function":
                return value.name ? `[Function: ${value.name}]` : "[Function]";
            case "number":
                return is(value, -0) ? "-0" : `${value}`;
            case "object":
                break;
            default:
                return String(value);
        }
        if (value === null) {
            return "null";
        }
        if (seen.includes(value)) {
            return "[Circular]";
        }
        if (seen.length >= DEEPEST) {
            return isArray(value) ? "[Array]" : "[Object]";
        }
        const path = [...seen, value];
        const show = (inner) => shown(inner, path, `${indent}  `);
        if (value instanceof NativeError) {
            return shownError(value, show, indent);
        }
        const name = className(value);
        const label = name ? `${name} ` : "";
        if (isArray(value) || value instanceof ArrayBufferView) {
            const prefix = name === "Array" ? "" : `${name}(${value.length}) `;
            return prefix + inBrackets("[", listed(value, show), "]", indent);
        }
        if (value instanceof NativeMap) {
            const parts = listed(value, ([key, item]) => `${show(key)} => ${show(item)}`);
            return `${name}(${value.size}) ${inBrackets("{", parts, "}", indent)}`;
        }
        if (value instanceof NativeSet) {
            return `${name}(${value.size}) ${inBrackets("{", listed(value, show), "}", indent)}`;
        }
        if (value instanceof NativeDate) {
            return Number.isNaN(value.getTime()) ? "Invalid Date" : toISOString(value);
        }
        if (value instanceof NativeRegExp || value instanceof NativePromise) {
            return value instanceof NativePromise ? "Promise {}" : String(value);
        }
        return label + inBrackets("{", fields(value, () => false, show), "}", indent);
    }

    const top = (value) => (typeof value === "string" ? value : shown(value, [], ""));

    const FORMATS = {
        s: (value) => top(value),
        d: (value) => String(Number(value)),
        i: (value) => String(Math.trunc(Number(value))),
        f: (value) => String(Number(value)),
        j: (value) => stringify(value),
        o: (value) => shown(value, [], ""),
        O: (value) => shown(value, [], ""),
    };

    function line(values) {
        let rest = values;
        let text = "";
        if (typeof values[0] === "string") {
            let used = 1;
            text = values[0].replace(/%[sdifjoO%]/g, (format) => {
                if (format === "%%" && values.length > 1) {
                    return "%";
                }
                return used < values.length && format !== "%%" ? FORMATS[format[1]](values[used++]) : format;
            });
            rest = values.slice(used);
            if (rest.length > 0) {
                text += " ";
            }
        }
        return text + rest.map(top).join(" ");
    }

    return {
        console: {
            log(...values) {
                host.write(line(values));
            },
            info(...values) {
                host.write(line(values));
            },
            debug(...values) {
                host.log("debug", line(values));
            },
            warn(...values) {
                host.log("warn", line(values));
            },
            error(...values) {
                host.log("error", line(values));
            },
            assert(condition, ...values) {
                if (!condition) {
                    host.log("error", line(values.length > 0 ? ["Assertion failed:", ...values] : ["Assertion failed"]));
                }
            },
        },
    };
}
