/** What to do about each finding of the master: commands where there are some. */
import type { Finding, NodeStatus, StatusReply } from '../wire/gen/cairn/v1/admin.ts'

const unit = "'cairn-chunkserver@*'"

/** Of one finding, the first thing first. Empty for one of a newer master that is not known here. */
export function nextSteps({ code, node, session }: Finding, status: StatusReply): readonly string[] {
  const about = status.nodes.find(({ id }) => id === node)
  const on = about === undefined ? 'its machine' : about.host
  const number = String(node)
  switch (code) {
    case 'too-few-nodes-up':
    case 'blocks-missing':
      return [
        ...bringBack(status.nodes),
        ...(code === 'blocks-missing' ? ['see which files it hits: cairn damaged'] : []),
        'nothing is lost as long as the disks of the chunkservers are there',
      ]
    case 'master-disk-full':
      return [
        'on the machine of the master, see what fills it: df -h /var/lib/cairn/master',
        'make room there, or move the folder to a larger disk; changes are taken again by themselves',
      ]
    case 'node-down':
      return [
        `on ${on}, see why it ended: journalctl -u ${unit} -n 50`,
        'and start it: systemctl start cairn-chunkserver@DISK',
        `with a dead disk, leave it; when cairn repair status has nothing left: cairn node remove ${number}`,
      ]
    case 'node-failing':
      return [
        `its copies are made anew elsewhere by themselves: cairn repair status`,
        `on ${on}, see what the disk says: journalctl -k -n 50`,
        `then replace the disk, start a chunkserver on the new one, and: cairn node remove ${number}`,
      ]
    case 'node-refusing':
      return [
        `if it is full: add a chunkserver and let blocks move: cairn rebalance start`,
        'or remove files; what was removed takes its room until its grace time is over: cairn gc status',
      ]
    case 'node-cannot-delete':
      return [
        `on ${on}, see what its disk says: journalctl -u ${unit} -n 50`,
        'it tries again when it is started again: systemctl restart cairn-chunkserver@DISK',
      ]
    case 'safe-mode':
      return ['it ends by itself, when all chunkservers have reported or the repair delay is over']
    case 'space-short':
      return [
        'add a chunkserver or a larger disk, then: cairn rebalance start',
        'or keep fewer copies of what can be made again: cairn copies set -r 2 PATH',
      ]
    case 'under-replicated':
      return ['they are made by themselves; see how fast: cairn repair status']
    case 'too-few-nodes':
      return [
        'start another chunkserver: cairn chunkserver --help',
        'or keep fewer copies: cairn copies set -r N PATH',
      ]
    case 'restore-pending':
      return [
        'see what is missing and what is left over: cairn restore status',
        'then: cairn restore confirm',
      ]
    case 'restore-unverified':
      return ['start those that are down; see which: cairn restore status']
    case 'backup-failing':
      return [
        'look at the disk of the master: df -h, journalctl -u cairn-master -n 50',
        'and take a copy to another machine now: cairn backup FILE',
      ]
    case 'log-failing':
      return ['look at the disk of the master: df -h, journalctl -u cairn-master -n 50']
    case 'log-behind':
      return [
        'see which chunkservers are to keep it, and what keeps them from it: cairn status --json',
        'and take a copy to another machine now: cairn backup FILE',
      ]
    case 'backup-old':
      return [
        'take a copy now: cairn backup FILE',
        'see why none was taken: journalctl -u cairn-master -n 50',
      ]
    case 'backup-unreadable':
      return [
        'look at the disk of the master: df -h, journalctl -k',
        'take a copy now: cairn backup FILE; then remove the bad one from the backups folder of the master',
      ]
    case 'metadata-differs':
      return [
        'see all that is different: journalctl -u cairn-master | grep "earlier copy"',
        'keep a copy of both before anything else: cairn backup FILE, and the backups folder of the master',
        'put right what is wrong (mode, time, name), or go back to the copy: cairn restore FILE',
      ]
    case 'metadata-unchecked':
      return ['see why: journalctl -u cairn-master -n 50']
    case 'metadata-problems':
      return [
        'see what it is: cairn fsck',
        'keep a copy before anything else: cairn backup FILE',
        'with the master stopped: cairn fsck --repair DIR',
      ]
    case 'copies-share-machines':
      return ['run chunkservers on more machines, so that one may fail']
    case 'insecure':
      return ['set up TLS: docs/security.md, cairn cluster init']
    case 'mount-silent':
      return [
        `look at its machine and the network; if it is gone for good: cairn mount evict ${String(session)}`,
      ]
    default:
      return []
  }
}

function bringBack(nodes: readonly NodeStatus[]): string[] {
  const down = nodes.filter(({ state }) => state === 'down')
  if (down.length === 0) return ['start chunkservers: cairn chunkserver --help']
  return down.map(
    ({ id, address, host }) =>
      `bring chunkserver ${String(id)} (${address}) back: on ${host}, systemctl start cairn-chunkserver@DISK`,
  )
}
