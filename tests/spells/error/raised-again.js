// An error of a bridge that a spell throws again keeps its kind.
try {
    await llm.chat("hi", { model: "nobody/none" });
} catch (error) {
    throw error;
}
