// Sizes, speeds and times in words, by the same rules as bootserver/units.py.

const grouped = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const two = (number) => String(number).padStart(2, "0");

export function megabytes(bytes) {
  if (!bytes) return "0 MB";
  return bytes < 100_000
    ? `${grouped.format(bytes / 1e3)} kB`
    : `${grouped.format(bytes / 1e6)} MB`;
}

export function speed(bytesPerSecond) {
  return bytesPerSecond ? `${megabytes(bytesPerSecond)}/s` : "–";
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)} min`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)} h`;
}

export function clock(seconds) {
  if (seconds === null) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(whole / 60);
  const hours = Math.floor(minutes / 60);
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24}:${two(minutes % 60)} h`;
  return hours
    ? `${hours}:${two(minutes % 60)}:${two(whole % 60)}`
    : `${minutes}:${two(whole % 60)}`;
}

/** The bytes that have come, and those to come, as bootserver/sessions/shape.py has them. */
export function progress(boot) {
  const underWay = boot.transfers.filter(
    (transfer) => !transfer.outcome && transfer.protocol !== "redirection",
  );
  const starting = ["handed_off", "root_fetched"].includes(boot.phase);
  if (!starting || !underWay.length) return [boot.sent_bytes, boot.image_bytes];
  const sum = (field) => underWay.reduce((total, transfer) => total + transfer[field], 0);
  return [sum("sent_bytes"), sum("size_bytes")];
}

/** Put the times below `root` into the browser's zone. */
export function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const hours = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
    const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    time.textContent = time.dataset.form === "clock" ? hours : `${date} ${hours}`;
    time.title = at.toUTCString();
  }
}
