const say = (...values) => console.log(values.join("\t"));

// The mock repeats the question, and with it the data in it.
const person = await llm.extract(
  "Here it is: ```json\n{name: 'Ada', \"age\": \"36\", tags: [\"poet's daughter\",],}\n```",
  { name: "string", age: "integer?", tags: ["string"] },
);
say(person.name, person.age, person.tags.length, person.tags[0]);

// JSON Schema, with a default; and a text alone.
const place = await llm.extract('{"city": "Paris"}', {
  type: "object",
  properties: { city: { type: "string" }, country: { type: "string", default: "France" } },
  required: ["city", "country"],
});
say(place.city, place.country);
say((await llm.extract("[1, 2, 3]", ["integer"]))[2]);

// A request takes the place of a text, and options say how to ask.
const mood = await llm.extract(
  { messages: [{ role: "user", content: '{"mood": "good"}' }] },
  { mood: "good|bad" },
  { temperature: 0, attempts: 1 },
);
say(mood.mood);

// An answer that does not fit says where, and what it took.
const failure = async (prompt, schema, options) => llm.extract(prompt, schema, options).then(() => null, (error) => error);
let err = await failure(
  '{"items": [{"name": "a"}, {"name": 2}, {"nam": "c"}]}',
  { items: [{ name: "string" }] },
  { attempts: 1 },
);
say("nil", err.kind, err.path, err.expected, err.got);
say(err.message);
say(err.attempts, err.usage.input_tokens > 0, err.raw.includes('"items"'), err.provider);

err = await failure("No idea.", { name: "string" });
say("nil", err.path, err.expected, err.attempts);

// What is no schema is refused by its place, and so is a wrong option.
const refusal = async (...rest) => say((await failure("hi", ...rest)).message.match(/argument [^;]*/)[0]);
await refusal({ age: "intger" });
await refusal({ type: "object", properties: { a: { $ref: "https://example.com" } } });
await refusal("string", { attempts: 11 });
await refusal("string", { temprature: 1 });
