/**
 * For a script that runs with --expose-gc: `longest(i)`, a mapping of 340 + 340 extents with the longest texts that the kernel
 * accepts, different for each `i`; `used()`, the bytes that JavaScript holds after a collection; and `print()`.
 */
export const LONGEST = `const { Handles, Mapping } = userns;
const print = (value) => console.log(JSON.stringify(value));
const extents = (first, i) => {
	const list = Array.from({ length: 340 }, (_, at) => ({ containerID: at * 3, hostID: first + at * 3, size: 2 }));
	list[339].hostID = 2000000000 + i;
	let spare = 4095 - list.map(({ containerID, hostID, size }) => containerID + " " + hostID + " " + size).join("\\n").length;
	for (let at = 338; spare >= 6; at--, spare -= 6) list[at].hostID += 1000000000;
	return list;
};
const longest = (i) => Mapping.from({ uidMappings: extents(1000, i), gidMappings: extents(4000, i) });
const used = () => {
	for (let i = 0; i < 6; i++) gc();
	const { heapUsed, external } = process.memoryUsage();
	return heapUsed + external;
};
`;
