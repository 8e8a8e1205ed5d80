import type { FsError } from '#src/core/errors.ts'
import { deferred } from '#src/client/waiting.ts'
import type { Mount } from './mounts-fixture.ts'

/** What is posted waits until it is let go, and is listed. With `failure` it comes to nothing then. */
export function holdPosts(
  mount: Mount,
  failure?: FsError,
): { readonly posted: string[]; readonly letGo: () => void } {
  const { promise: held, resolve } = deferred<undefined>()
  const post = mount.session.post.bind(mount.session)
  const posted: string[] = []
  mount.session.post = async (op, expect) => {
    posted.push(op.$case)
    await held
    if (failure !== undefined) throw failure
    return post(op, expect)
  }
  return {
    posted,
    letGo: () => {
      mount.session.post = post
      resolve(undefined)
    },
  }
}
