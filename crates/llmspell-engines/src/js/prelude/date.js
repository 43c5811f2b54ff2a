// `Date`: the time comes from the host's clock, and the local time zone is always UTC, so that a spell behaves the same
// on every machine.
export default function ({ host, natives, unbound, NativeDate }) {
    const { construct, defineProperty, ownKeys } = natives;
    const { UTC } = NativeDate;
    const nativeParse = NativeDate.parse;
    const proto = NativeDate.prototype;
    const getTime = unbound(proto.getTime);
    const toUTCString = unbound(proto.toUTCString);
    const toISOString = unbound(proto.toISOString);
    const getOffset = unbound(proto.getTimezoneOffset);
    const toPrimitive = unbound(proto[natives.toPrimitive]);

    const ZONED = /(?:Z|GMT|UTC?|[ECMP][SD]T|[+-]\d\d:?\d\d)\s*(?:\(.*\))?\s*$/i;
    const DATE_ONLY = /^[+-]?\d{4,6}(?:-\d\d(?:-\d\d)?)?$/;

    // The native parser reads a text without a zone in the machine's local time zone. This one reads it as UTC.
    function parse(text) {
        const written = `${text}`;
        const time = nativeParse(written);
        if (Number.isNaN(time) || ZONED.test(written) || DATE_ONLY.test(written)) {
            return time;
        }
        return time - getOffset(new NativeDate(time)) * 60000;
    }

    function timeOf(value) {
        if (value instanceof NativeDate) {
            return getTime(value);
        }
        const plain = typeof value === "object" && value !== null ? toPrimitive(value, "default") : value;
        return typeof plain === "string" ? parse(plain) : Number(plain);
    }

    function text(date) {
        const [day, number, month, year, time] = toUTCString(date).replace(",", "").split(" ");
        return { day: `${day} ${month} ${number} ${year}`, time: `${time} GMT+0000 (UTC)` };
    }

    function Date(...parts) {
        if (new.target === undefined) {
            return new Date().toString();
        }
        const time = parts.length === 0 ? host.now() : parts.length === 1 ? timeOf(parts[0]) : UTC(...parts);
        return construct(NativeDate, [time], new.target);
    }

    const add = (object, name, value) =>
        defineProperty(object, name, { __proto__: null, value, writable: true, configurable: true });

    Date.prototype = proto;
    add(Date, "UTC", UTC);
    add(Date, "parse", parse);
    add(Date, "now", () => host.now());
    defineProperty(Date, "length", { __proto__: null, value: 7 });
    add(proto, "constructor", Date);

    const PARTS = ["Date", "Day", "FullYear", "Hours", "Milliseconds", "Minutes", "Month", "Seconds"];
    for (let i = 0; i < PARTS.length; i++) {
        const part = PARTS[i];
        add(proto, `get${part}`, proto[`getUTC${part}`]);
        if (part !== "Day") {
            add(proto, `set${part}`, proto[`setUTC${part}`]);
        }
    }
    add(proto, "getTimezoneOffset", function getTimezoneOffset() {
        return Number.isNaN(getTime(this)) ? NaN : 0;
    });
    add(proto, "getYear", function getYear() {
        return this.getUTCFullYear() - 1900;
    });

    // Dates as text. The `toLocale…` methods ignore languages and give ISO forms.
    const invalid = (date) => Number.isNaN(getTime(date));
    const reads = {
        toString: (date) => `${text(date).day} ${text(date).time}`,
        toDateString: (date) => text(date).day,
        toTimeString: (date) => text(date).time,
        toLocaleString: (date) => toISOString(date).slice(0, 19).replace("T", " "),
        toLocaleDateString: (date) => toISOString(date).slice(0, 10),
        toLocaleTimeString: (date) => toISOString(date).slice(11, 19),
    };
    const names = ownKeys(reads);
    for (let i = 0; i < names.length; i++) {
        const name = names[i];
        add(proto, name, function () {
            return invalid(this) ? "Invalid Date" : reads[name](this);
        });
    }

    return { Date };
}
