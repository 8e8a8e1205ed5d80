/** What an export can be called. */
export const exportNameForm = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/
/** As an identity: everybody whom no export names. */
export const everybody = '*'
/** The largest uid or gid: -1 means "not given" to chown(2). */
export const userIdMax = 0xffff_fffe
