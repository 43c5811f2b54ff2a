// What a spell throws keeps its value.
throw { code: 7, why: "because" };
