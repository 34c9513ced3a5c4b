const value = process.env.USERNS_SLOWER ?? "1";
if (!/^[1-9]\d{0,2}$/.test(value)) throw new Error(`USERNS_SLOWER is ${value}, and must be a whole number`);

/** The factor for time limits on this machine, because an emulated CPU is slow. */
export const SLOWER: number = Number(value);
