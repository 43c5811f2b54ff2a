// Each way to ask, of a web that says what it was asked.
const url = "http://pages.example";
console.log(await http.get(`${url}/echo`, { query: { a: ["x y", true, 2] }, headers: { "X-Key": 5 } }));
console.log(await http.post(`${url}/echo`, { title: "Hello" }));
console.log(await http.post(`${url}/echo`, "a,b", "text/csv"));
console.log(await http.put(`${url}/echo`, "body"));
console.log(await http.delete(`${url}/echo`));

const response = await http.request({ url: `${url}/json`, method: "post", json: [1, 2] });
const { headers } = response;
const none = headers.none === undefined;
console.log([response.status, response.ok, response.url, headers["CONTENT-type"], none].join("\t"));
console.log(`${response.body}\t${response.json().names[0]}`);
const bytes = (await http.request({ url: `${url}/bytes` })).bytes();
const plain = (await http.request({ url: `${url}/json` })).bytes(); // Bytes too, though it is text.
console.log([bytes.length, bytes[1], plain.length].join("\t"));

let whole = "";
await http.get(`${url}/echo`, { onChunk: (piece) => void (whole += piece) });
console.log(whole);

// A status from 400 on is an error of those that give a body, and an answer of the other.
const failure = (work) => work.catch((error) => error);
let error = await failure(http.get(`${url}/missing`));
console.log([error.kind, error.status, error.body, error.message].join("\t"));
console.log((await http.request({ url: `${url}/missing` })).status);
error = await failure(http.get("http://elsewhere.example/"));
console.log(`${error.kind}\t${error.hint}`);
error = await failure(http.get("nonsense"));
console.log(`${error.kind}\t${error.hint}`);
