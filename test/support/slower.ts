const value = process.env.USERNS_SLOWER ?? "1";
if (!/^[1-9]\d{0,2}$/.test(value)) throw new Error(`USERNS_SLOWER is ${value}, and must be a whole number`);

/** How many times longer than elsewhere things may take here: an emulated processor is slow. */
export const SLOWER: number = Number(value);
