// Greets somebody in a model's words.

const greeting = await llm.chat(`Say hello to ${params.name} in one short, friendly sentence.`);
console.log(greeting);
