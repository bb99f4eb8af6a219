/** What client and sink say to each other: one letter for the task, where it needs one an amount of fixed length. */
export const down = 'D'; // the sink sends so many bytes
export const up = 'U'; // the sink takes so many bytes, then answers one
export const echo = 'E'; // the sink answers each byte
export const who = 'W'; // the sink says its name and closes
export const amountLength = 16;
export const port = 9000;

export function request(task: string, amount?: number): string {
  return amount === undefined ? task : task + String(amount).padStart(amountLength, '0');
}
