// What the scripts for Node share: the server's address, and a check as a function with a label.

export const URL = process.env.KAIWA_URL, MODEL = process.env.KAIWA_MODEL, EMBEDDER = process.env.KAIWA_EMBEDDER;
export const HELLO = [{ role: "user", content: "Name a colour." }];

/** Run `body` and print a row: it passes unless it throws or returns something false. */
export async function check(what, body) {
  let result = "passes";
  try {
    const value = await body();
    if (value !== undefined && !value) result = `unexpected: ${value}`;
  } catch (error) {
    result = `${error.name}: ${error.message}`.replace(/\s+/g, " ").slice(0, 200);
  }
  console.log(JSON.stringify({ what, result }));
}
