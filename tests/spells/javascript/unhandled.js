async function ask() {
    await llm.chat("hello", { model: "no-such-model" });
}
ask();
export default "returned";
