const int64Max = 2n ** 63n - 1n

/** Whether an id from outside can be one of ours: SQLite's integers end here, and it refuses larger ones. */
export const fitsInt64 = (id: bigint): boolean => id <= int64Max
