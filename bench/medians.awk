# What both tables are made of: medians of "program metric value" lines, and ratios of them.
{ values[$1, $2] = values[$1, $2] " " $3 }

function median(program, metric,   parts, n, i, j, t) {
  n = split(values[program, metric], parts, " ")
  if (n == 0) return ""
  for (i = 2; i <= n; i++)
    for (j = i; j > 1 && parts[j - 1] + 0 > parts[j] + 0; j--) { t = parts[j]; parts[j] = parts[j - 1]; parts[j - 1] = t }
  return n % 2 ? parts[(n + 1) / 2] + 0 : (parts[n / 2] + parts[n / 2 + 1]) / 2
}
function ratio(a, b) { return a == "" || b == "" || b == 0 ? "-" : sprintf("%.2f", a / b) }
